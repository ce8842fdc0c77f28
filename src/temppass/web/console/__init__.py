"""The console: the desk as pages, over the same use cases as the control API."""

from temppass.service import Service
from temppass.web.console.acts import ActPages
from temppass.web.console.applications import ApplicationPages
from temppass.web.console.approvals import ApprovalPages
from temppass.web.console.catalogue import CataloguePages
from temppass.web.console.charts import ChartPages
from temppass.web.console.home import HomePages
from temppass.web.console.keys import KeyPages
from temppass.web.console.lists import ListPages
from temppass.web.console.look import StaticFiles
from temppass.web.console.operators import OperatorPages
from temppass.web.console.reset import ResetPages
from temppass.web.console.schedules import SchedulePages
from temppass.web.console.signin import SignInPages
from temppass.web.console.viewer import ViewerPages
from temppass.web.problems import SurfaceRoute


def pages(service: Service) -> list[SurfaceRoute]:
    """Answer the routes of all pages; those with a fixed path come before those with an environment in it."""
    return [
        *StaticFiles().routes(),
        *SignInPages(service).routes(),
        *HomePages(service).routes(),
        *ChartPages(service).routes(),
        *ViewerPages(service).routes(),
        *ApplicationPages(service).routes(),
        *CataloguePages(service).routes(),
        *SchedulePages(service).routes(),
        *KeyPages(service).routes(),
        *OperatorPages(service).routes(),
        *ResetPages(service).routes(),
        *ApprovalPages(service).routes(),
        *ActPages(service).routes(),
        *ListPages(service).routes(),
    ]
