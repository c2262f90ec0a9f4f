"""What `lamella lock` asks the outside world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella.build.lock import Resolvers
from lamella.errors import ConfigError
from lamella.graph.op import Wheel
from lamella.project.lock import BasePin
from lamella.sources.wheel_request import ResolveRequest
from lamella.sources.wheels import UvResolver

if TYPE_CHECKING:
    from lamella.api.session import Session


class _Resolvers:
    def __init__(self, session: Session) -> None:
        self._uv = UvResolver(session.options.environ, offline=session.options.offline)

    def base(self, reference: str, platforms: tuple[str, ...]) -> BasePin:
        raise ConfigError(f"pulling {reference} is not yet supported")

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        return self._uv.resolve(request)


def make_resolvers(session: Session) -> Resolvers:
    return _Resolvers(session)
