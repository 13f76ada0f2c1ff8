// The panels that our dashboards have, around the components that Grafana draws them with.
import React, { useEffect, useMemo, useRef } from 'react';
import {
  PanelPlugin,
  cacheFieldDisplayNames,
  identityOverrideProcessor,
  getFieldDisplayValues,
  getDisplayValueAlignmentFactors,
  FieldType,
  DataFrame,
} from '@grafana/data';
import {
  TimeSeries,
  BigValue,
  BarGauge,
  VizRepeater,
  useTheme2,
  UPlotConfigBuilder,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const GRAPH: Record<string, any> = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  showPoints: 'auto',
  pointSize: 5,
  pointColor: undefined,
  pointSymbol: undefined,
  spanNulls: false,
  insertNulls: false,
  barAlignment: 0,
  barWidthFactor: 0.6,
  barMaxWidth: undefined,
  lineStyle: undefined,
  lineColor: undefined,
  fillColor: undefined,
  fillBelowTo: undefined,
  transform: undefined,
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  hideFrom: { legend: false, tooltip: false, viz: false },
  axisPlacement: 'auto',
  axisLabel: '',
  axisWidth: undefined,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisGridShow: undefined,
  axisCenteredZero: false,
  axisColorMode: 'text',
  axisBorderShow: false,
  scaleDistribution: { type: 'linear' },
};
const TABLE: Record<string, any> = {
  align: 'auto',
  cellOptions: { type: 'auto' },
  inspect: false,
  filterable: undefined,
  width: undefined,
  minWidth: undefined,
  hidden: undefined,
  hideFrom: undefined,
  wrapHeaderText: undefined,
  footer: undefined,
  tooltip: undefined,
};
const custom = (defs: Record<string, any>) => (b: any) => {
  for (const k of Object.keys(defs))
    b.addCustomEditor({
      id: k,
      path: k,
      name: k,
      editor: () => null,
      override: () => null,
      process: identityOverrideProcessor,
      shouldApply: () => true,
      defaultValue: defs[k],
    });
};

function useValues(
  { data, options, fieldConfig, replaceVariables, timeZone }: any,
  sparkline: boolean,
) {
  const theme = useTheme2();
  return () =>
    getFieldDisplayValues({
      data: data.series,
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables,
      theme,
      timeZone,
      sparkline,
    });
}
const REDUCE = { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false } };
const opt = (defs: Record<string, any>) => (b: any) => {
  for (const k of Object.keys(defs))
    b.addCustomEditor({ id: k, path: k, name: k, editor: () => null, defaultValue: defs[k] });
};
const Empty = ({ msg = 'No data' }) => (
  <div
    data-testid="no-data"
    style={{ display: 'flex', alignItems: 'center', justifyContent: 'center', height: '100%' }}
  >
    {msg}
  </div>
);
const TimeseriesPanel = (p: any) => {
  const theme = useTheme2();
  const frames = useMemo(
    () =>
      p.data.series.filter(
        (f: DataFrame) =>
          f.fields.some((x) => x.type === FieldType.time) &&
          f.fields.some((x) => x.type === FieldType.number),
      ),
    [p.data.series],
  );
  const marks: number[] = (p.data.annotations ?? []).flatMap(
    (f: DataFrame) => f.fields.find((x) => x.name === 'time')?.values ?? [],
  );
  // Annotations come before or after the series: what is drawn already is drawn anew.
  const latest = useRef(marks);
  latest.current = marks;
  const plot = useRef<any>(null);
  useEffect(() => plot.current?.redraw(false), [marks.join()]);
  if (!frames.length) return <Empty msg={p.fieldConfig.defaults.noValue ?? 'No data'} />;
  return (
    <TimeSeries
      frames={frames}
      structureRev={p.data.structureRev}
      timeRange={p.timeRange}
      timeZone={p.timeZone}
      width={p.width}
      height={p.height}
      legend={p.options.legend}
      options={p.options}
    >
      {(b: UPlotConfigBuilder) => {
        if (!(b as any).marked) {
          (b as any).marked = 1;
          b.addHook('draw', (u: any) => {
            plot.current = u;
            const c = u.ctx;
            c.save();
            c.strokeStyle = theme.visualization.getColorByName('red');
            c.setLineDash([6, 4]);
            c.lineWidth = 2;
            for (const t of latest.current) {
              const x = u.valToPos(t, 'x', true);
              if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
              c.beginPath();
              c.moveTo(x, u.bbox.top);
              c.lineTo(x, u.bbox.top + u.bbox.height);
              c.stroke();
            }
            c.restore();
          });
        }
        return null;
      }}
    </TimeSeries>
  );
};
const Repeat = ({ p, get, children, ...rest }: any) => (
  <VizRepeater
    getValues={get}
    getAlignmentFactors={getDisplayValueAlignmentFactors as any}
    width={p.width}
    height={p.height}
    source={p.data}
    renderCounter={p.renderCounter}
    orientation={p.options.orientation ?? 'auto'}
    renderValue={children}
    {...rest}
  />
);
const StatPanel = (p: any) => {
  const get = useValues(p, p.options.graphMode !== 'none');
  const theme = useTheme2();
  return (
    <Repeat p={p} get={get} autoGrid>
      {({ value, width, height, alignmentFactors, count }: any) => (
        <BigValue
          theme={theme}
          value={value.display}
          sparkline={value.sparkline}
          colorMode={p.options.colorMode}
          graphMode={p.options.graphMode}
          justifyMode={p.options.justifyMode}
          textMode={p.options.textMode}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          count={count}
          text={p.options.text}
          hasLinks={false}
        />
      )}
    </Repeat>
  );
};
const BarGaugePanel = (p: any) => {
  const get = useValues(p, false);
  const theme = useTheme2();
  return (
    <Repeat
      p={p}
      get={get}
      itemSpacing={8}
      minVizHeight={p.options.minVizHeight}
      minVizWidth={p.options.minVizWidth}
      maxVizHeight={p.options.maxVizHeight}
    >
      {({ value, width, height, orientation, alignmentFactors }: any) => (
        <BarGauge
          theme={theme}
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor?.(value.colIndex)}
          width={width}
          height={height}
          orientation={orientation}
          displayMode={p.options.displayMode}
          showUnfilled={p.options.showUnfilled}
          valueDisplayMode={p.options.valueMode}
          namePlacement={p.options.namePlacement}
          alignmentFactors={alignmentFactors}
          isOverflow={false}
        />
      )}
    </Repeat>
  );
};
const TablePanel = (p: any) => {
  cacheFieldDisplayNames(p.data.series);
  const f = p.data.series[0];
  if (!f || !f.length) return <Empty msg={p.fieldConfig.defaults.noValue ?? 'No data'} />;
  return (
    <TableNG
      data={f}
      width={p.width}
      height={p.height}
      noHeader={!p.options.showHeader}
      showTypeIcons={false}
      resizable
      initialSortBy={p.options.sortBy}
      cellHeight={p.options.cellHeight}
      timeRange={p.timeRange}
      fieldConfig={p.fieldConfig}
      enableVirtualization={false}
      getActions={() => []}
      structureRev={p.data.structureRev}
    />
  );
};
export const plugins: Record<string, PanelPlugin<any, any>> = {
  timeseries: new PanelPlugin(TimeseriesPanel)
    .setDataSupport({ annotations: true, alertStates: false })
    .useFieldConfig({ useCustomConfig: custom(GRAPH) })
    .setPanelOptions(
      opt({
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'single', sort: 'none' },
      }) as any,
    ),
  stat: new PanelPlugin(StatPanel).useFieldConfig().setPanelOptions(
    opt({
      ...REDUCE,
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
      textMode: 'auto',
      orientation: 'auto',
    }) as any,
  ),
  bargauge: new PanelPlugin(BarGaugePanel).useFieldConfig().setPanelOptions(
    opt({
      ...REDUCE,
      displayMode: 'gradient',
      orientation: 'horizontal',
      showUnfilled: true,
      valueMode: 'color',
      namePlacement: 'auto',
      minVizHeight: 16,
      minVizWidth: 8,
      maxVizHeight: 300,
    }) as any,
  ),
  table: new PanelPlugin(TablePanel)
    .useFieldConfig({ useCustomConfig: custom(TABLE) })
    .setPanelOptions(opt({ showHeader: true, cellHeight: 'sm' }) as any),
};
export const unsupported = (id: string) =>
  new PanelPlugin(() => (
    <div data-testid="unsupported-panel">panel type “{id}” is not drawn here</div>
  )).useFieldConfig();
