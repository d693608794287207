"""When a series crosses a limit: ``steps`` has its past, ``methods`` guess, ``forecast`` chooses."""
