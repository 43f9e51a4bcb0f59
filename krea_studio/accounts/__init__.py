"""Who may use a studio that is open to a team: accounts, passwords, and how long a browser stays signed in."""
