"""The vocabulary of the house: what every other floor may speak of."""
