"""Who asks, and what they may: made once a request, at the border, and passed to library and studio, which decide.

The command line and the page on one's own machine ask as LOCAL. By what a person is known, a browser's entry or a name
that was signed in, is the border's part; here is no way to become somebody.
"""

from dataclasses import dataclass

from krea_studio.errors import InvalidRequest


@dataclass(frozen=True)
class Person:
    """`id` owns the pictures; `may_change_library` counts for what all share, moodboards and styles.

    `sees_all` shows the pictures of others too, `limited` is who has only a share of what there is, and `runs_studio`
    who may decide for it, such as which models it has.
    """

    id: str
    may_change_library: bool = False
    sees_all: bool = False
    limited: bool = True
    runs_studio: bool = False

    def sees(self, owner: str) -> bool:
        """Whether the pictures of `owner` are shown."""
        return self.sees_all or self.id == owner

    @property
    def has_own(self) -> bool:
        """Whether what this person brings is theirs; the operator's and a stranger's is everybody's."""
        return self.may_change_library and not self.sees_all

    def may_use(self, owner: str, team: bool) -> bool:
        """Whether a moodboard or style is there for this person: nobody's, one's own, or shared with who signs in."""
        return not owner or self.sees(owner) or (team and self.may_change_library)

    def may_change(self, owner: str, team: bool) -> bool:
        """Whether this person may change one that is there for them: nobody's, one's own, for an admin a shared one."""
        return self.may_change_library and (not owner or self.sees(owner) or (team and self.runs_studio))

    def require_change(self, what: str) -> None:
        """Raise InvalidRequest where this person may not change what all share, called `what` (`styles`)."""
        if not self.may_change_library:
            raise InvalidRequest(
                f"The {what} of this page are everybody's, and only who is signed in may change them — sign in first"
            )

    def require_running(self, what: str) -> None:
        """Raise InvalidRequest where this person may not decide about the studio's `what` (`models`)."""
        if not self.runs_studio:
            raise InvalidRequest(f"The {what} of this page are chosen by whoever runs it — ask them, or an admin")


def member(name: str, admin: bool = False) -> Person:
    """Who signed in by that name."""
    return Person(name, may_change_library=True, runs_studio=admin)


LOCAL = Person("local", may_change_library=True, sees_all=True, limited=False, runs_studio=True)
