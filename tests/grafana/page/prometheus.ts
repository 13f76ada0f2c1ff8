// A data source that asks Prometheus as Grafana's own does (that one is AGPL, and not used here).
import {
  DataSourceApi,
  DataFrame,
  FieldType,
  toDataFrame,
  ScopedVars,
  rangeUtil,
} from '@grafana/data';
import { sceneGraph } from '@grafana/scenes';
import { from, of } from 'rxjs';
const esc = (s: string) => s.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');
const fmt = (v: any, variable: any) => {
  if (!variable?.multi && !variable?.includeAll)
    return String(v).replace(/\\/g, '\\\\').replace(/"/g, '\\"');
  if (typeof v === 'string') return esc(v);
  const a = v.map(esc);
  return a.length === 1 ? a[0] : `(${a.join('|')})`;
};
export class Prometheus extends DataSourceApi<any, any> {
  annotations = {
    prepareAnnotation: (j: any) => ({
      ...j,
      target: j.target ?? { refId: 'Anno', expr: j.expr, interval: j.step },
    }),
    processEvents: (a: any, frames: any[]) =>
      of(
        frames.flatMap((f) => {
          const t = f.fields[0],
            v = f.fields[1],
            l = v.labels ?? {};
          const tpl = (x = '') => filled(x, l);
          const out: any[] = [];
          for (let i = 0; i < t.values.length; i++) {
            if (!(v.values[i] > 0)) continue;
            const at = a.useValueForTime ? Math.floor(v.values[i]) : t.values[i],
              prev = out.at(-1),
              step = t.config?.interval ?? 1000;
            if (prev && at - prev.timeEnd <= step) {
              prev.timeEnd = at;
              prev.isRegion = prev.timeEnd > prev.time;
            } else
              out.push({
                time: at,
                timeEnd: at,
                title: tpl(a.titleFormat),
                text: tpl(a.textFormat),
                tags: (a.tagKeys ?? '')
                  .split(',')
                  .map((k: string) => l[k.trim()])
                  .filter(Boolean),
                annotation: a,
              });
          }
          return out;
        }),
      ),
  };
  scrape = 1;
  url = '';
  constructor(s: any) {
    super(s);
    this.url = s.url;
    this.interval = s.jsonData?.timeInterval || '15s';
    this.scrape = rangeUtil.intervalToSeconds(this.interval);
  }
  interpolate(text: string, sv: ScopedVars, extra: ScopedVars = {}) {
    const so: any = (sv as any).__sceneObject?.value?.valueOf();
    return sceneGraph.interpolate(so, text, { ...sv, ...extra }, fmt as any);
  }
  async api(path: string, params: Record<string, string>) {
    const r = await fetch(this.url + path + '?' + new URLSearchParams(params));
    const j = await r.json();
    if (j.status !== 'success') throw new Error(`${j.errorType}: ${j.error}`);
    return j.data;
  }
  macros(req: any, step: number): ScopedVars {
    const r = Math.round((req.range.to.valueOf() - req.range.from.valueOf()) / 1000),
      i = step;
    const ri = Math.max(i + this.scrape, 4 * this.scrape),
      v = (x: any) => ({ text: String(x), value: String(x) });
    return {
      __range: v(r + 's'),
      __range_s: v(r),
      __range_ms: v(r * 1000),
      __rate_interval: v(ri + 's'),
      __rate_interval_ms: v(ri * 1000),
      __interval: v(i + 's'),
      __interval_ms: v(i * 1000),
    };
  }
  query(req: any): any {
    return from(this.run(req));
  }
  async run(req: any) {
    const targets = req.targets.filter((target: any) => !target.hide);
    const data: DataFrame[] = [];
    for (const target of targets) {
      const found = await this.ask(req, target);
      if (target.format === 'table')
        data.push(asTable(found.series, target.refId, targets.length > 1));
      else data.push(...found.series.map((one: any) => asGraph(one, target, found.step)));
    }
    return { data };
  }
  async ask(req: any, target: any) {
    const [from, to] = [req.range.from, req.range.to].map((time) => time.valueOf() / 1000);
    const wanted = Math.max(1, (req.intervalMs ?? 1000) / 1000);
    const least = target.interval
      ? this.interpolate(target.interval, req.scopedVars, this.macros(req, wanted))
      : '1s';
    const step = Math.max(rangeUtil.intervalToSeconds(least), wanted);
    const query = this.interpolate(target.expr, req.scopedVars, this.macros(req, step));
    const told = target.instant
      ? await this.api('/api/v1/query', { query, time: String(to) })
      : await this.api('/api/v1/query_range', {
          query,
          start: String(Math.floor(from / step) * step),
          end: String(Math.floor(to / step) * step),
          step: String(step),
        });
    const scalar = told.resultType === 'scalar';
    return { step, series: scalar ? [{ metric: {}, value: told.result }] : told.result };
  }
  async metricFindQuery(query: any, options: any) {
    const text = this.interpolate(
      typeof query === 'string' ? query : query.query,
      options?.scopedVars ?? {},
      options?.range ? this.macros(options, 1) : {},
    );
    const values = text.match(/^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\s*\)$/s);
    if (values) {
      const match = values[1] ? { 'match[]': values[1].trim() } : {};
      const found: string[] = await this.api(`/api/v1/label/${values[2]}/values`, match);
      return found.map((one) => ({ text: one }));
    }
    const result = text.match(/^query_result\((.+)\)$/s);
    if (!result) throw new Error('variable query not understood: ' + text);
    const series = (await this.api('/api/v1/query', { query: result[1] })).result;
    return series.map(({ metric: { __name__ = '', ...labels }, value }: any) => {
      const pairs = Object.entries(labels).map(([name, one]) => `${name}="${one}"`);
      return { text: `${__name__}{${pairs.join(',')}} ${value[1]} ${value[0] * 1000}` };
    });
  }
  async testDatasource() {
    return { status: 'success', message: '' };
  }
}

const number = (text: string) => (/Inf/.test(text) ? Infinity * +text.replace('Inf', '1') : +text);
const last = (series: any) => series.value ?? series.values.at(-1);

function asTable(found: any[], refId: string, several: boolean): DataFrame {
  const names = [...new Set(found.flatMap((one) => Object.keys(one.metric)))].sort();
  return toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: found.map((one) => last(one)[0] * 1000) },
      ...names.map((name) => ({
        name,
        type: FieldType.string,
        config: { filterable: true },
        values: found.map((one) => one.metric[name] ?? ''),
      })),
      {
        name: several ? `Value #${refId}` : 'Value',
        type: FieldType.number,
        values: found.map((one) => number(last(one)[1])),
      },
    ],
  });
}

function asGraph(one: any, target: any, step: number): DataFrame {
  const values = one.values ?? [one.value];
  const label =
    target.legendFormat && target.legendFormat !== '__auto'
      ? filled(target.legendFormat, one.metric)
      : undefined;
  return toDataFrame({
    refId: target.refId,
    name: label,
    fields: [
      {
        name: 'Time',
        type: FieldType.time,
        config: { interval: step * 1000 },
        values: values.map((value: any) => value[0] * 1000),
      },
      {
        name: 'Value',
        type: FieldType.number,
        labels: one.metric,
        config: label ? { displayNameFromDS: label } : {},
        values: values.map((value: any) => number(value[1])),
      },
    ],
  });
}

function filled(template: string, labels: any): string {
  return template.replace(/\{\{\s*(.+?)\s*\}\}/g, (_: any, name: string) => labels[name] ?? '');
}
