"""Speed, as ratios against a peer that does the same work in the same run, or against a stated limit."""
