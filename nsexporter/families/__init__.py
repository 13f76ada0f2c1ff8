"""What the catalogue's rows take from a Snapshot: for each family its samples, as bytes."""
