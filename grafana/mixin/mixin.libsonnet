// The dashboards and rules of this project as a monitoring mixin (https://monitoring.mixins.dev):
//   local nsexporter = import 'nsexporter/grafana/mixin/mixin.libsonnet';
local groups(text) = std.parseYaml(text).groups;

{
  grafanaDashboards+:: {
    'nsexporter-container.json': import '../dashboards/container.json',
    'nsexporter-exporter.json': import '../dashboards/exporter.json',
    'nsexporter-fleet.json': import '../dashboards/fleet.json',
    'nsexporter-host.json': import '../dashboards/host.json',
    'nsexporter-namespaces.json': import '../dashboards/namespaces.json',
  },
  prometheusRules+:: {
    groups+: groups(importstr '../rules/recording.yaml') + groups(importstr '../rules/allow.yaml'),
  },
  prometheusAlerts+:: {
    groups+: groups(importstr '../rules/alerts.yaml'),
  },
}
