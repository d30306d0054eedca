"""What many traces say together: counts, latencies, tokens, cost and judgements over time, and what goes with what."""
