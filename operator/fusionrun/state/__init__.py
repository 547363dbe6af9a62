"""From live objects to a decision: ``observe``, ``decide`` and ``report``. Pure."""
