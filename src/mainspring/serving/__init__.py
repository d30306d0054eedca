"""Answer predictions: endpoints, the versions behind them, and the engine that runs them."""
