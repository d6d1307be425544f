"""What the tests begin with."""

import shutil
import tempfile
import unittest
from pathlib import Path

from support import Edge, Service, Stub


class Case(unittest.TestCase):
    """Has a folder that all users may enter, and says what nginx complained about when a test fails."""

    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="customer-journey-edge."))
        cls.root.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, cls.root)

    @classmethod
    def folder(cls, name):
        folder = cls.root / name
        folder.mkdir()
        return folder

    @classmethod
    def start_edge(cls, upstream_port, **values):
        cls.edge = Edge(cls.folder("edge"), upstream_port, **values).start()
        cls.addClassCleanup(cls.edge.stop)


class StubCase(Case):
    """An edge before a stub, with limits that a handful of requests reaches, and that a slow machine does not outlive."""

    values = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stub = Stub()
        cls.addClassCleanup(stub.stop)
        cls.start_edge(stub.port, **{"apiRequestsPerSecond": 1, "eventRequestsPerSecond": 5, **cls.values})


class ServiceCase(Case):
    """An edge before the service itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service = Service(cls.folder("service")).start()
        cls.addClassCleanup(cls.service.stop)
        cls.start_edge(cls.service.plain.port)
