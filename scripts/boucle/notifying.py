"""Tell people how something ended: on the terminal, and wherever the environment says."""

from dataclasses import dataclass
from typing import Literal

from boucle.config import Recipients
from boucle.errors import NotNotified

Status = Literal["ok", "failed"]


@dataclass(frozen=True)
class Notification:
    """What is told."""

    title: str
    text: str
    status: Status = "ok"


def send(notification: Notification, recipients: Recipients) -> int:
    """How many recipients were told, each in one message.

    Raises:
        NotNotified: naming, without its secrets, every recipient that was not reached; the others were told.
    """
    urls = recipients.all()
    if not urls:
        return 0
    # Here and not above: it costs half a second, and who names nobody does without.
    from apprise import Apprise, NotifyType

    kind = NotifyType.SUCCESS if notification.status == "ok" else NotifyType.FAILURE
    missed = []
    for number, url in enumerate(urls, 1):
        service = Apprise.instantiate(url)
        if service is None:
            missed.append(f"number {number} (no address that Apprise knows)")
        elif not service.notify(title=notification.title, body=notification.text, notify_type=kind):
            missed.append(f"number {number} ({service.service_name})")
    if missed:
        raise NotNotified(f"{len(missed)} of {len(urls)} recipients did not get the notification: {', '.join(missed)}")
    return len(urls)
