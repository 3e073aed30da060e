"""Training jobs: the table that is the truth, the queue that wakes a trainer, the trainer. No Flask here."""
