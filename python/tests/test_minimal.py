"""The example that the repository's README shows: it imports, and gates by trigger and by name."""

import importlib.util
from pathlib import Path

MINIMAL = Path(__file__).parent.parent.parent / "examples" / "fastapi" / "minimal.py"


def test_the_readmes_example_gates():
    spec = importlib.util.spec_from_file_location("minimal", MINIMAL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        paths = {route.path for route in module.app.routes}
        assert {"/api/features/search", "/reports"} <= paths
        assert [m.cls.__name__ for m in module.app.user_middleware] == ["TidegateMiddleware"]
    finally:
        module.gate.close_sync(1)
