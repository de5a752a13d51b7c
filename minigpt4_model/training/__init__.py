"""Training: where pictures with words come from, and the one trainer of all stages. Imported only by the training commands."""
