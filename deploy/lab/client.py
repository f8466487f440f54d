"""Uses the lab's database through its floating address, and shows every outage as it happens.

    client.py            counts: one row after the other, each committed before the next
    client.py check      looks whether every row that was acknowledged is there, and ends

The numbers that were acknowledged are kept outside the cluster, in /var/tmp/acknowledged.
"""

import os
import socket
import sys
import time

import psycopg2

ADDRESS = os.environ.get("ADDRESS", "172.30.85.88")
KEPT = "/var/tmp/acknowledged"
PATIENCE = 0.5  # seconds for one answer; a longer silence is told


def reachable():
    """Whether somebody answers at the port, found out faster than the database library does."""
    try:
        socket.create_connection((ADDRESS, 5432), timeout=0.1).close()
        return True
    except OSError:
        return False


def connect():
    if not reachable():
        raise psycopg2.OperationalError("nobody answers")
    connection = psycopg2.connect(
        host=ADDRESS,
        user="postgres",
        dbname="postgres",
        connect_timeout=2,
        options="-c statement_timeout=5000",
        tcp_user_timeout=int(PATIENCE * 1000),
        keepalives_idle=1,
        keepalives_interval=1,
        keepalives_count=1,
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS counter (number bigint PRIMARY KEY)")
        cursor.execute("SELECT pg_read_file('/etc/hostname')")
        server = cursor.fetchone()[0].strip()
    return connection, server


def acknowledged():
    try:
        with open(KEPT, encoding="ascii") as file:
            return [int(line) for line in file.read().split("\n")[:-1]]
    except FileNotFoundError:
        return []


def missing(connection):
    """The acknowledged numbers that the database does not have."""
    kept = acknowledged()
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM counter")
        there = {row[0] for row in cursor}
    return len(kept), [number for number in kept if number not in there]


def say(text):
    now = time.time()
    print(time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03} {text}")


def count():
    number = max(acknowledged(), default=0)
    connection, server, down, told, done = None, None, None, 0.0, 0
    last = time.monotonic()  # when the last answer came
    say(f"waiting for the database at {ADDRESS}")
    with open(KEPT, "a", encoding="ascii", buffering=1) as kept:
        while True:
            try:
                if connection is None:
                    connection, now_on = connect()
                    total, lost = missing(connection)
                    gap = time.monotonic() - last
                    if server is None:
                        say(f"the database runs on {now_on}")
                    else:
                        say(f"back after {gap:.2f} s, now on {now_on}; {total} acknowledged, {len(lost)} of them lost")
                    server, down = now_on, None
                number += 1
                asked = time.monotonic()
                with connection.cursor() as cursor:
                    # A try whose answer was lost may have been done.
                    cursor.execute("INSERT INTO counter VALUES (%s) ON CONFLICT DO NOTHING", (number,))
                kept.write(f"{number}\n")
                last = time.monotonic()
                if last - asked > PATIENCE:
                    say(f"an answer took {last - asked:.2f} s, from {server}")
                done += 1
                if last - told >= 5:
                    say(f"{number} rows, {done / (last - told) if told else 0:.0f} a second, on {server}")
                    told, done = last, 0
            except psycopg2.Error as error:
                if connection is not None:
                    connection.close()
                    connection = None
                if down is None and server is not None:
                    down = time.monotonic()
                    say(f"no answer: {str(error).strip().splitlines()[0] if str(error) else 'cut off'}")
                time.sleep(0.02)


def check():
    connection, server = connect()
    total, lost = missing(connection)
    print(f"{total} acknowledged, {len(lost)} lost; on {server}")
    return 1 if lost or not total else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    count()
