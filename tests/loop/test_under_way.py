from __future__ import annotations

import socket
import sys

import pytest

from pytest_interleave.loop import under_way
from pytest_interleave.loop.under_way import TcpEnd, is_accepting_to_come, is_end_to_come, is_to_come

ESTABLISHED, FIN_WAIT, CLOSED, CLOSE_WAIT, LISTEN = 1, 4, 7, 8, 10
QUIET = TcpEnd(ESTABLISHED, unacknowledged=0, received=0, unsent=0, sent=100, may_send=5000, lets_send=5000)
RECEIVER = QUIET._replace(received=100, sent=0)
SENDER = QUIET._replace(unacknowledged=1)
HELD_UP = SENDER._replace(unsent=10)


@pytest.mark.parametrize(
    ("is_coming", "sender", "receiver", "is_unread", "waits_to_send"),
    [
        pytest.param(False, QUIET, RECEIVER, False, True, id="all is there"),
        pytest.param(True, SENDER, RECEIVER._replace(received=99), False, False, id="a byte is not"),
        pytest.param(True, SENDER, RECEIVER._replace(received=99), True, False, id="others are there, unread"),
        pytest.param(False, SENDER, RECEIVER, False, False, id="its receipt is late"),
        pytest.param(True, SENDER, RECEIVER, False, True, id="its receipt is late, and the sender waits for room"),
        pytest.param(False, SENDER, RECEIVER, True, True, id="the receiver is to read first"),
        pytest.param(True, HELD_UP, RECEIVER, False, False, id="the receiver has read all, and has room"),
        pytest.param(False, HELD_UP, RECEIVER, True, True, id="the receiver has no room"),
        pytest.param(True, HELD_UP, RECEIVER._replace(lets_send=9000), True, False, id="the receiver has got room"),
        pytest.param(True, SENDER._replace(state=FIN_WAIT), RECEIVER, False, False, id="its end is not there"),
        pytest.param(False, SENDER._replace(state=FIN_WAIT), RECEIVER._replace(received=101), False, False, id="it is"),
    ],
)
def test_what_is_to_come(
    is_coming: bool, sender: TcpEnd, receiver: TcpEnd, is_unread: bool, waits_to_send: bool
) -> None:
    assert is_to_come(sender, receiver, is_unread, waits_to_send=waits_to_send) is is_coming


@pytest.mark.parametrize(
    ("is_coming", "left"),
    [
        pytest.param(True, QUIET, id="it does not know"),
        pytest.param(False, QUIET._replace(state=CLOSE_WAIT), id="it knows"),
        pytest.param(True, SENDER._replace(state=CLOSE_WAIT), id="it knows, and has sent something"),
        pytest.param(False, SENDER._replace(state=CLOSED, unacknowledged=0), id="which was refused"),
    ],
)
def test_whether_an_end_is_to_come(is_coming: bool, left: TcpEnd) -> None:
    assert is_end_to_come(left) is is_coming


@pytest.mark.parametrize(
    ("is_coming", "state", "waiting"),
    [
        pytest.param(True, LISTEN, 0, id="it does not know of any"),
        pytest.param(False, LISTEN, 1, id="it knows"),
        pytest.param(False, CLOSED, 0, id="it does not listen"),
    ],
)
def test_whether_a_connection_is_to_come(is_coming: bool, state: int, waiting: int) -> None:
    assert is_accepting_to_come(QUIET, QUIET._replace(state=state, unacknowledged=waiting)) is is_coming


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells nobody else")
def test_what_the_system_tells_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        waiting = under_way.look_at(server.fileno())
        other, _ = server.accept()
        with other:
            one.send(b"hello")
            sender, receiver = under_way.look_at(one.fileno()), under_way.look_at(other.fileno())
            has_unread = under_way.has_unread(other.fileno())
            other.recv(5)
            one.shutdown(socket.SHUT_WR)
            ended = under_way.look_at(other.fileno())

            assert under_way.is_told_of(one)
            assert (waiting.state, waiting.unacknowledged) == (LISTEN, 1)
            assert (sender.state, sender.sent, sender.received, sender.unsent) == (ESTABLISHED, 5, 0, 0)
            assert (receiver.state, receiver.sent, receiver.received) == (ESTABLISHED, 0, 5)
            assert sender.may_send == receiver.lets_send
            assert (has_unread, under_way.has_unread(other.fileno())) == (True, False)
            assert (ended.state, ended.received) == (CLOSE_WAIT, 6)


def test_nothing_is_told_of_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert not under_way.is_told_of(sock)


def test_following_is_behind_what_was_sent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        receiver.sendto(b"x", receiver.getsockname())

        assert under_way.follow()
        assert receiver.recv(1) == b"x"
