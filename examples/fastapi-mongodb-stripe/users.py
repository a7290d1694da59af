"""The app's own customers: in MongoDB, or in memory where MONGODB_URI is not set."""

import hashlib
import os
import secrets
from typing import Any, Dict, Optional


class Taken(Exception):
    """The address has an account already."""


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def _key(session: str) -> str:
    """Sessions are stored as hashes: who reads the database can't use them."""
    return hashlib.sha256(session.encode()).hexdigest()


class Users:
    """Accounts and sessions, as two collections of documents."""

    def __init__(self) -> None:
        uri = os.environ.get("MONGODB_URI")
        if uri:
            from pymongo import MongoClient

            database = MongoClient(uri, serverSelectionTimeoutMS=3000)[os.environ.get("APP_DATABASE", "app")]
            self._users, self._sessions = database["users"], database["sessions"]
        else:
            self._users, self._sessions = _Memory(), _Memory()

    def sign_up(self, email: str, password: str) -> str:
        """Create an account; returns the customer's id. Raises Taken."""
        salt = secrets.token_bytes(16)
        customer = "c_" + hashlib.sha256(email.encode()).hexdigest()[:24]  # unique by _id, so that two can't race
        account = {"_id": customer, "email": email, "salt": salt.hex(), "password": _digest(password, salt).hex()}
        if self._users.find_one({"_id": customer}) is not None:
            raise Taken(email)
        try:
            self._users.insert_one(account)
        except Exception as error:
            if type(error).__name__ == "DuplicateKeyError":
                raise Taken(email) from error
            raise
        return customer

    def sign_in(self, email: str, password: str) -> Optional[str]:
        """The customer's id, None if there is none with this password."""
        customer = "c_" + hashlib.sha256(email.encode()).hexdigest()[:24]
        account = self._users.find_one({"_id": customer}) or {}
        salt, want = bytes.fromhex(account.get("salt", "00")), account.get("password", "")
        return customer if secrets.compare_digest(_digest(password, salt).hex(), want) else None

    def open_session(self, customer: str) -> str:
        """A new session's secret, for the cookie."""
        session = secrets.token_urlsafe(24)
        self._sessions.insert_one({"_id": _key(session), "customer": customer})
        return session

    def customer_of(self, session: Optional[str]) -> Optional[str]:
        """Whose session it is."""
        found = self._sessions.find_one({"_id": _key(session)}) if session else None
        return found["customer"] if found else None


class _Memory:
    """As much of a collection as is used above."""

    def __init__(self) -> None:
        self._documents: Dict[str, Dict[str, Any]] = {}

    def insert_one(self, document: Dict[str, Any]) -> None:
        self._documents[document["_id"]] = document

    def find_one(self, query: Dict[str, str]) -> Optional[Dict[str, Any]]:
        return self._documents.get(query["_id"])
