"""Who is told of alerts, besides the loop."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import Name, OneOf, SpecModel, Text
from capstan.spec.rule import UNTRIED, part_rule, require
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import Flag

_HOST = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
URL_PATTERN = rf"^https?://({_HOST}|\[[0-9A-Fa-f:.]+\])(:[0-9]{{1,5}})?([/?](%[0-9A-Fa-f]{{2}}|[A-Za-z0-9/?._~!$&()*+,;=:@-])*)?$"
"""What Alertmanager takes: it refuses a whole configuration for one address that is none. A password has no place."""
MAIL_PATTERN = rf"^[A-Za-z0-9.!#$&*+/=?^_~%-]+@{_HOST}$"
"""No white space, which would begin another header, and no braces, which are Alertmanager's templates."""
SERVER_PATTERN = rf"^{_HOST}:[1-9][0-9]{{0,4}}$"
CHANNEL_PATTERN = r"^[#@]?[^ \t\r\n#@{}]{1,80}$"
Url = Annotated[str, StringConstraints(pattern=URL_PATTERN, max_length=253)]
MailAddress = Annotated[str, StringConstraints(pattern=MAIL_PATTERN, max_length=253)]
HostAndPort = Annotated[str, StringConstraints(pattern=SERVER_PATTERN, max_length=253)]
Channel = Annotated[str, StringConstraints(pattern=CHANNEL_PATTERN, max_length=81)]
MAIL_RULES = (
    part_rule(
        "has only one of username and passwordFrom, and a server lets nobody in by one of them; write both, or neither",
        lambda email: (email.username is None) == (email.password_from is None),
        why_no_cel=UNTRIED,
    ),
)


def _free(name: str) -> str:
    if name == "capstan":
        raise PydanticCustomError("receiver", "is the name of the loop's own receiver; choose another")
    return name


class WebhookReceiver(SpecModel):
    """A program that takes Alertmanager's notifications."""

    url: Url = Field(
        description="Address that notifications are posted to; it must hold no secret.",
        examples=["https://pager.example.com/capstan"],
    )
    token_from: ValueFrom | None = Field(
        None,
        description="Token that is sent as `Authorization: Bearer`; without it none is.",
        examples=[{"secretKeyRef": {"name": "pager", "key": "token"}}],
    )


class SlackReceiver(SpecModel):
    """A channel of Slack, or of what takes the same messages, such as Mattermost."""

    url_from: ValueFrom = Field(
        description="Address of the incoming webhook, which is a secret itself.",
        examples=[{"secretKeyRef": {"name": "slack", "key": "url"}}],
    )
    channel: Channel | None = Field(
        None, description="Channel; without it the webhook's own.", examples=["#flights"]
    )


class EmailReceiver(SpecModel):
    """A mailbox."""

    to: MailAddress = Field(description="Who gets the mail.", examples=["ops@example.com"])
    sender: MailAddress = Field(description="From whom it comes.", examples=["capstan@example.com"])
    server: HostAndPort = Field(
        description="Mail server that takes it, with its port.", examples=["smtp.example.com:587"]
    )
    username: Text | None = Field(
        None, description="Name at the server; without it the server is not told any.", examples=["capstan"]
    )
    password_from: ValueFrom | None = Field(
        None,
        description="Password at the server.",
        examples=[{"secretKeyRef": {"name": "mail", "key": "password"}}],
    )
    require_tls: Flag = Field(
        True, description="Whether mail is refused to a server without TLS.", examples=[True]
    )

    @model_validator(mode="after")
    def _known_to_the_server(self) -> EmailReceiver:
        return require(self, MAIL_RULES)


class Receiver(OneOf):
    """Somebody who is told of alerts."""

    members: ClassVar[tuple[str, ...]] = ("webhook", "slack", "email")

    name: Annotated[Name, AfterValidator(_free)] = Field(
        description="Name of the receiver; `capstan` is the loop's own.", examples=["on-call"]
    )
    severity: Literal["warning", "critical"] = Field(
        "warning",
        description="The mildest alerts that it is told of: `critical` leaves out warnings.",
        examples=["critical"],
    )
    webhook: WebhookReceiver | None = Field(
        None, description="A program.", examples=[{"url": "https://pager.example.com/capstan"}]
    )
    slack: SlackReceiver | None = Field(
        None,
        description="A channel.",
        examples=[{"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}}],
    )
    email: EmailReceiver | None = Field(
        None,
        description="A mailbox.",
        examples=[
            {"to": "ops@example.com", "sender": "capstan@example.com", "server": "smtp.example.com:587"}
        ],
    )

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        """What telling it needs to be told in secret."""
        named = (
            None if self.webhook is None else self.webhook.token_from,
            None if self.slack is None else self.slack.url_from,
            None if self.email is None else self.email.password_from,
        )
        return tuple(secret for secret in named if secret is not None)
