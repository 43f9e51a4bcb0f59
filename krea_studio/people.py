"""Who asks, and what they may: made once a request, at the border, and passed to library and studio, which decide.

The command line and the page on one's own machine ask as LOCAL. By what a person is known, a browser's entry or a name
that was signed in, is the border's part; here is no way to become somebody.
"""

from dataclasses import dataclass

from krea_studio.errors import InvalidRequest


@dataclass(frozen=True)
class Person:
    """`id` owns the pictures; `may_change_library` counts for what all share, moodboards and styles.

    `sees_all` shows the pictures of others too, and `limited` is who has only a share of what there is.
    """

    id: str
    may_change_library: bool = False
    sees_all: bool = False
    limited: bool = True

    def sees(self, owner: str) -> bool:
        """Whether the pictures of `owner` are shown."""
        return self.sees_all or self.id == owner

    def require_change(self, what: str) -> None:
        """Raise InvalidRequest where this person may not change what all share, called `what` (`styles`)."""
        if not self.may_change_library:
            raise InvalidRequest(
                f"The {what} of this page are everybody's, and only who is signed in may change them — sign in first"
            )


def member(name: str) -> Person:
    """Who signed in by that name."""
    return Person(name, may_change_library=True)


LOCAL = Person("local", may_change_library=True, sees_all=True, limited=False)
