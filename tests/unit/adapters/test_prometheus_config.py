"""Claims about Prometheus's configuration as data."""

from __future__ import annotations

from pathlib import Path

from capstan.adapters.prometheus.server import PrometheusSettings, config, with_generation


def test_a_shared_envoys_clusters_get_their_own_names_and_their_system() -> None:
    settings = PrometheusSettings(envoy_admin="127.0.0.1:9901", envoy_is_shared=True)
    [_, envoy] = config(settings, Path("/here"))["scrape_configs"]
    labels = [rule.get("target_label") for rule in envoy["metric_relabel_configs"]]
    # The system is that of the predictions' virtual cluster, or is read from the name before the name is shortened.
    assert labels == [None, "system", "system", "envoy_cluster_name"]


def test_an_envoy_of_one_system_is_read_as_it_is() -> None:
    [_, envoy] = config(PrometheusSettings(envoy_admin="127.0.0.1:9901"), Path("/here"))["scrape_configs"]
    assert [rule["action"] for rule in envoy["metric_relabel_configs"]] == ["keep"]


def test_rules_of_several_systems_record_each_the_generation_of_its_own_monitor() -> None:
    groups = {"groups": [{"name": "bikes-data", "rules": []}]}
    [[record]] = [group["rules"] for group in with_generation(groups, "bikes")["groups"]]
    assert record["expr"] == 'capstan_monitor_generation{system="bikes"}'
    [[alone]] = [group["rules"] for group in with_generation(groups)["groups"]]
    assert alone["expr"] == "capstan_monitor_generation"
