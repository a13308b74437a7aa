"""What every part stands on and what knows no noun: settings, clock, database, logs, errors."""
