"""The tab History, where what was made is found again, looked at, sorted, deleted and brought back."""
