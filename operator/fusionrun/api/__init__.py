"""What a run is: the contract that operator and stages share."""
