"""What Envoy is started with: its listener, its admin address, and the files it reads the rest from and watches."""

from __future__ import annotations

from pathlib import Path

from capstan.adapters.envoy import replies as envoy_replies
from capstan.adapters.envoy.config import (
    ARM_HEADER,
    BUFFER,
    BUFFER_FILTER,
    EXTENSIONS,
    ROLE_HEADER,
    ROUTES_NAME,
    GatewaySettings,
    Json,
)
from capstan.ports.combining import INSTRUCTION_HEADER

REQUEST_ID = "x-request-id"
# By these headers a client could choose its arm, its request id or its time limits.
HEADERS_OF_THE_GATEWAY = (
    ROLE_HEADER,
    ARM_HEADER,
    INSTRUCTION_HEADER,
    REQUEST_ID,
    "x-envoy-attempt-count",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-max-retries",
    "x-envoy-retry-on",
    "x-envoy-hedge-on-per-try-timeout",
)


def bootstrap(settings: GatewaySettings, clusters_file: Path, routes_file: Path) -> Json:
    """The bootstrap file; clusters and routes change while Envoy runs, this does not."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
    }
    buffer = {
        "name": BUFFER_FILTER,
        "typed_config": {"@type": BUFFER, "max_request_bytes": settings.max_body_bytes},
    }
    clean = {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [
                {"remove": header}
                for header in HEADERS_OF_THE_GATEWAY
                if header != REQUEST_ID or not settings.keeps_request_ids
            ],
        },
    }
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        # nginx's proxy_pass and ApacheBench speak HTTP/1.0, without a Host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "capstan"},
        "local_reply_config": envoy_replies.local_replies(
            body_bytes=settings.max_body_bytes,
            feedback_bytes=settings.max_feedback_bytes,
            timeout_seconds=settings.timeout_seconds,
        ),
        "generate_request_id": True,
        "preserve_external_request_id": settings.keeps_request_ids,
        "always_set_request_id_in_response": True,
        "early_header_mutation_extensions": [clean],
        "normalize_path": True,
        "merge_slashes": True,
        "stream_idle_timeout": "30s",
        "request_headers_timeout": "10s",
        "rds": {"route_config_name": ROUTES_NAME, "config_source": _source(routes_file)},
        "http_filters": [buffer, router],
    }
    listener = {
        "name": "gateway",
        # Without this, two Envoys could share the connections of one port unnoticed.
        "enable_reuse_port": False,
        "address": {"socket_address": {"address": settings.host, "port_value": settings.port}},
        "per_connection_buffer_limit_bytes": settings.max_body_bytes * 2,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    kept = ["cluster.", "http.gateway.", "vhost.", "server.", "cluster_manager.", "listener_manager."]
    return {
        "node": {"id": "capstan", "cluster": "capstan"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": settings.admin_port}}},
        "dynamic_resources": {"cds_config": _source(clusters_file)},
        "static_resources": {"listeners": [listener]},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": name} for name in kept]}}
        },
    }


def _source(file: Path) -> Json:
    return {
        "path_config_source": {"path": str(file), "watched_directory": {"path": str(file.parent)}},
        "resource_api_version": "V3",
    }
