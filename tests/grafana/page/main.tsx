// One dashboard, as a scene of Grafana's own libraries with a Prometheus behind it.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router-dom';
import { of, merge, timer } from 'rxjs';
import { map, catchError, takeUntil, share } from 'rxjs/operators';
import 'uplot/dist/uPlot.min.css';
import {
  EventBusSrv,
  LoadingState,
  standardTransformers,
  standardTransformersRegistry,
  standardFieldConfigEditorRegistry,
  standardEditorsRegistry,
  unitOverrideProcessor,
  numberOverrideProcessor,
  stringOverrideProcessor,
  displayNameOverrideProcessor,
  thresholdsOverrideProcessor,
  valueMappingsOverrideProcessor,
  dataLinksOverrideProcessor,
  booleanOverrideProcessor,
  identityOverrideProcessor,
  ThemeContext,
  FieldColorModeId,
} from '@grafana/data';
import {
  config,
  locationService,
  LocationServiceProvider,
  setAppEvents,
  setBackendSrv,
  setDataSourceSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
  setReturnToPreviousHook,
} from '@grafana/runtime';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { initPluginTranslations } from '@grafana/i18n';
import {
  dataLayers,
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataLayerControls,
  SceneDataLayerSet,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneRefreshPicker,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
  behaviors,
  sceneGraph,
} from '@grafana/scenes';
import { Prometheus } from './prometheus';
import { plugins, unsupported } from './panels';

const arg = new URLSearchParams(location.search);
const setting: any = {
  id: 1,
  uid: 'prometheus',
  type: 'prometheus',
  name: 'Prometheus',
  isDefault: true,
  readOnly: true,
  url: arg.get('prometheus'),
  jsonData: { timeInterval: arg.get('scrape') },
  access: 'direct',
  meta: {
    id: 'prometheus',
    name: 'Prometheus',
    type: 'datasource',
    metrics: true,
    annotations: true,
    info: { logos: { small: '', large: '' } },
    module: '',
    baseUrl: '',
  },
};
const ds: any = new Prometheus(setting);
ds.meta = setting.meta;
const problems: string[] = [];
(window as any).problems = problems;
const known = (ref: any, sv: any) => {
  let u = typeof ref === 'string' ? ref : ref?.uid;
  if (u && /\$/.test(u)) {
    const so = sv?.__sceneObject?.value?.valueOf();
    u = so ? sceneGraph.interpolate(so, u, sv) : u;
  }
  return !u || ['prometheus', 'Prometheus', 'default'].includes(u)
    ? true
    : (problems.push('unknown data source: ' + JSON.stringify(ref) + ' -> ' + u), false);
};
const item = (id: string, path: string, process: any, extra: any = {}) => ({
  id,
  path,
  name: id,
  description: '',
  editor: () => null,
  override: () => null,
  process,
  settings: {},
  shouldApply: () => true,
  category: [],
  ...extra,
});

function wire() {
  setAppEvents(new EventBusSrv());
  setBackendSrv({
    get: async () => ({}),
    post: async () => ({}),
    fetch: () => of({ data: {} }),
    datasourceRequest: async () => ({}),
  } as any);
  setDataSourceSrv({
    get: async (r: any, sv: any) => {
      if (!known(r, sv)) throw new Error('data source not found: ' + JSON.stringify(r));
      return ds;
    },
    getList: (f: any) => (!f?.pluginId || f.pluginId === 'prometheus' ? [setting] : []),
    getInstanceSettings: (r: any, sv: any) => (known(r, sv) ? setting : undefined),
    reload() {},
    registerRuntimeDataSource() {},
  } as any);
  setTemplateSrv({
    getVariables: () => [],
    replace: (t: string, sv: any, f: any) => {
      const so = sv?.__sceneObject?.value?.valueOf();
      return so ? sceneGraph.interpolate(so, t, sv, f) : t;
    },
    containsTemplate: (t: string) => /\$/.test(t ?? ''),
    updateTimeRange() {},
  } as any);
  setRunRequest(((d: any, request: any) => {
    const base = { series: [], timeRange: request.range, request };
    const done = d.query(request).pipe(
      map((r: any) => ({ ...base, state: LoadingState.Done, series: r.data, annotations: [] })),
      catchError((e: any) =>
        of({
          ...base,
          state: LoadingState.Error,
          errors: [{ message: String(e.message ?? e) }],
          error: { message: String(e.message ?? e) },
        }),
      ),
      share(),
    );
    return merge(
      timer(200).pipe(
        map(() => ({ ...base, state: LoadingState.Loading })),
        takeUntil(done),
      ),
      done,
    );
  }) as any);
  setPluginImportUtils({
    importPanelPlugin: async (id: string) => get(id),
    getPanelPluginFromCache: (id: string) => get(id),
  } as any);
  setReturnToPreviousHook((() => () => {}) as any);
  standardTransformersRegistry.setInit(
    () =>
      [...new Map(Object.values(standardTransformers).map((t: any) => [t.id, t])).values()].map(
        (t: any) => ({
          id: t.id,
          name: t.name,
          aliasIds: t.aliasIds,
          transformation: t,
          editor: () => null,
          imageDark: '',
          imageLight: '',
        }),
      ) as any,
  );
  standardEditorsRegistry.setInit(
    () =>
      [
        'number',
        'slider',
        'text',
        'strings',
        'boolean',
        'select',
        'unit',
        'links',
        'actions',
        'stats-picker',
        'color',
        'dashboard-uid',
        'field-name',
        'multi-select',
        'timezone',
        'fieldColor',
        'thresholds',
        'mappings',
        'location',
        'resource',
      ].map((id) => ({ id, name: id, editor: () => null })) as any,
  );
  standardFieldConfigEditorRegistry.setInit(
    () =>
      [
        item('unit', 'unit', unitOverrideProcessor),
        item('min', 'min', numberOverrideProcessor),
        item('max', 'max', numberOverrideProcessor),
        item('decimals', 'decimals', numberOverrideProcessor),
        item('displayName', 'displayName', displayNameOverrideProcessor, {
          settings: { expandTemplateVars: true },
        }),
        item('color', 'color', identityOverrideProcessor, {
          defaultValue: { mode: FieldColorModeId.Thresholds },
        }),
        item('noValue', 'noValue', stringOverrideProcessor),
        item('links', 'links', dataLinksOverrideProcessor),
        item('mappings', 'mappings', valueMappingsOverrideProcessor, { defaultValue: [] }),
        item('thresholds', 'thresholds', thresholdsOverrideProcessor, {
          defaultValue: {
            mode: 'absolute',
            steps: [
              { value: -Infinity, color: 'green' },
              { value: 80, color: 'red' },
            ],
          },
        }),
        item('filterable', 'filterable', booleanOverrideProcessor),
        item('fieldMinMax', 'fieldMinMax', booleanOverrideProcessor),
        item('description', 'description', stringOverrideProcessor),
      ] as any,
  );
}
const cache: Record<string, any> = {};
function get(id: string) {
  if (!cache[id]) {
    const p = plugins[id] ?? (problems.push('unsupported panel type: ' + id), unsupported(id));
    p.meta = {
      id,
      name: id,
      type: 'panel',
      module: 'x',
      baseUrl: '',
      info: {
        author: { name: '' },
        description: '',
        links: [],
        logos: { small: '', large: '' },
        screenshots: [],
        updated: '',
        version: '',
      },
      sort: 0,
      hideFromList: false,
      skipDataQuery: id === 'row',
    } as any;
    cache[id] = p;
  }
  return cache[id];
}

function variable(v: any) {
  const c = {
    name: v.name,
    label: v.label,
    hide: v.hide,
    description: v.description,
    skipUrlSync: v.skipUrlSync,
  };
  const asked = arg.get(`var-${v.name}`);
  const cur = {
    value: asked ?? v.current?.value ?? '',
    text: asked ?? v.current?.text ?? '',
  };
  switch (v.type) {
    case 'datasource':
      return new DataSourceVariable({
        ...c,
        pluginId: v.query,
        regex: v.regex,
        value: cur.value || 'prometheus',
        text: cur.text || 'Prometheus',
      });
    case 'query':
      return new QueryVariable({
        ...c,
        ...cur,
        query: v.query,
        datasource: v.datasource,
        refresh: v.refresh,
        regex: v.regex,
        sort: v.sort,
        isMulti: v.multi,
        includeAll: v.includeAll,
        allValue: v.allValue,
        defaultToAll: v.includeAll,
      } as any);
    default:
      problems.push('unsupported variable type: ' + v.type);
      return undefined;
  }
}
const viz = (p: any) =>
  new VizPanel({
    key: 'panel-' + p.id,
    title: p.title,
    description: p.description,
    pluginId: p.type,
    options: p.options ?? {},
    fieldConfig: p.fieldConfig ?? { defaults: {}, overrides: [] },
    displayMode: p.transparent ? 'transparent' : 'default',
    $data: p.targets?.length
      ? new SceneDataTransformer({
          transformations: p.transformations ?? [],
          $data: new SceneQueryRunner({
            datasource: p.datasource,
            queries: p.targets,
            maxDataPoints: p.maxDataPoints,
            minInterval: p.interval,
          }),
        })
      : undefined,
  });
const gridItem = (p: any) =>
  new SceneGridItem({
    key: 'grid-' + p.id,
    x: p.gridPos.x,
    y: p.gridPos.y,
    width: p.gridPos.w,
    height: p.gridPos.h,
    isResizable: false,
    isDraggable: false,
    body: viz(p),
  });

async function main() {
  await initPluginTranslations('grafana-scenes', []).catch(() => {});
  wire();
  const d = await (await fetch(arg.get('dashboard')!)).json();
  const children: any[] = [];
  let row: any;
  for (const p of d.panels) {
    if (p.type === 'row') {
      row = new SceneGridRow({
        key: 'row-' + p.id,
        title: p.title,
        y: p.gridPos.y,
        isCollapsed: p.collapsed,
        children: (p.panels ?? []).map(gridItem),
      });
      children.push(row);
      continue;
    }
    row
      ? row.setState({ children: [...row.state.children, gridItem(p)] })
      : children.push(gridItem(p));
  }
  const scene = new EmbeddedScene({
    $timeRange: new SceneTimeRange({
      from: arg.get('from') ?? d.time.from,
      to: arg.get('to') ?? d.time.to,
      timeZone: 'utc',
    }),
    $variables: new SceneVariableSet({
      variables: d.templating.list.map(variable).filter(Boolean),
    }),
    $data: new SceneDataLayerSet({
      layers: (d.annotations?.list ?? [])
        .filter((a: any) => !a.builtIn)
        .map(
          (a: any) =>
            new dataLayers.AnnotationsDataLayer({
              key: 'anno-' + a.name,
              name: a.name,
              isEnabled: a.enable,
              isHidden: a.hide,
              query: a,
            }),
        ),
    }),
    $behaviors: [
      new behaviors.CursorSync({ sync: d.graphTooltip }),
      new behaviors.SceneQueryController(),
    ],
    controls: [
      new VariableValueSelectors({}),
      new SceneDataLayerControls(),
      new SceneControlsSpacer(),
      new SceneTimePicker({}),
      new SceneRefreshPicker({ refresh: '' }),
    ],
    body: new SceneGridLayout({
      children,
      isDraggable: false,
      isResizable: false,
      isLazy: false,
    } as any),
  });
  (window as any).report = () =>
    (sceneGraph.findAllObjects(scene, (o) => o instanceof VizPanel) as any[]).map((o) => {
      const s = o.state.$data?.state.data;
      const el = document.querySelector(`[data-viz-panel-key="${o.state.key}"]`) as HTMLElement;
      return {
        title: o.interpolate(o.state.title),
        type: o.state.pluginId,
        state: s?.state,
        errors: s?.errors?.map((e: any) => e.message),
        rows: s?.series?.reduce((n: number, f: any) => n + f.length, 0),
        annotations: s?.annotations?.reduce((n: number, f: any) => n + f.length, 0),
        pluginError: o.state._pluginLoadError,
        text: el?.innerText?.replace(/\s+/g, ' ').slice(0, 300),
      };
    });
  for (const one of scene.state.$variables!.state.variables as any[])
    one.subscribeToState((state: any) => {
      if (state.error) problems.push(`variable ${one.state.name}: ${state.error}`);
    });
  createRoot(document.getElementById('root')!).render(
    <BrowserRouter>
      <LocationServiceProvider service={locationService}>
        <ThemeContext.Provider value={config.theme2}>
          <GlobalStyles />
          <div style={{ padding: 8, minHeight: '100%', display: 'flex' }}>
            <scene.Component model={scene} />
          </div>
          <PortalContainer />
        </ThemeContext.Provider>
      </LocationServiceProvider>
    </BrowserRouter>,
  );
}
window.addEventListener('error', (e) => problems.push('error: ' + e.message));
window.addEventListener('unhandledrejection', (e) =>
  problems.push('rejection: ' + (e.reason?.stack ?? e.reason)),
);
main().catch((e) => problems.push('main: ' + e.stack));
