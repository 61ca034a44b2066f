"""From accepted events to sufficient statistics: inbox, sealing, lake, engines."""
