"""What the studio's promises are worth, measured: `python -m krea_studio measure NAME`.

Each module measures one thing and writes a report into `docs/measurements`. Nothing else imports this room.
"""
