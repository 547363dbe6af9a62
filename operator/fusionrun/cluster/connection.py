"""The connection to the API server."""

import urllib.parse
import urllib.request

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from fusionrun.cluster.client import Client, Guard, no_guard
from fusionrun.cluster.requests import Observe

CONNECTIONS = 100
"""Maximum number of concurrent requests of one client: the default of the Kubernetes library."""


async def connect(observe: Observe, guard: Guard = no_guard, connections: int = CONNECTIONS) -> Client:
    """Connect with the pod's service account or, outside a cluster, with KUBECONFIG.

    ``connections`` is the maximum number of concurrent requests; 0 for no maximum.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        await load_kube_config(client_configuration=configuration)
    # With trust_env, aiohttp reads ~/.netrc and the proxy settings in a thread at every request. The proxy is looked up
    # once, here, and no API server's credentials are in a netrc file.
    configuration.proxy = configuration.proxy or proxy_for(configuration.host)
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.connection_pool_maxsize = connections
    return Client(ApiClient(configuration), observe, guard)


def proxy_for(url: str) -> str | None:
    """Return the proxy for an address from HTTPS_PROXY, HTTP_PROXY and NO_PROXY; None for no proxy."""
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
