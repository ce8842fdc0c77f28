"""Where all pages are: those of the routes that a browser opens, each at one address of the busy desk."""

from collections.abc import Callable

from tests.e2e.pages.world import HERE, World

from temppass.testing import build
from temppass.web.console import pages

Address = Callable[[World], str]
#: what a browser asks for that is no page
NO_PAGES = {
    "/console",
    "/console/",
    "/console/static/{version:id}/{name:id}",
    "/console/in/{environment}/viewer",  # leads home
    "/console/in/{environment}/acts.csv",
    "/console/in/{environment}/acts.jsonl",
    "/console/in/{environment}/lists/{list:id}/failed.csv",
}
#: an address of each page with more in its path than the environment
EXAMPLES: dict[str, Address] = {
    "/console/in/{environment}/applications/{application:id}": lambda _: f"{HERE}/applications/ops",
    "/console/in/{environment}/viewer/{device:id}/{key:id}": lambda world: f"{HERE}/viewer/{world.viewer}",
    "/console/in/{environment}/reset/{plan:id}": lambda world: f"{HERE}/reset/{world.plan}",
    "/console/in/{environment}/reset/done/{act:id}": lambda world: f"{HERE}/reset/done/{world.part}",
    "/console/in/{environment}/lists/{list:id}": lambda world: world.list,
    "/console/in/{environment}/acts/{act:id}": lambda world: f"{HERE}/acts/{world.acts['grant']}",
}


def paths() -> list[str]:
    """Answer the path of every page, as its route has it."""
    routes = pages(build().application.service)
    return sorted({route.path for route in routes if "GET" in (route.methods or ())} - NO_PAGES)


def address(path: str, world: World) -> str:
    """Answer where a page is."""
    if path in EXAMPLES:
        return EXAMPLES[path](world)
    filled = path.replace("{environment}", "release-production")
    assert "{" not in filled, f"{path} wants an example: an address of it in EXAMPLES, or among NO_PAGES"
    return filled
