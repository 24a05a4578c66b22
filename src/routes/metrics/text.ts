/** What stands within the braces of a sample, such as `flag="a",variant="on"`; empty for none. */
export type Labels = string

/** A metric in Prometheus's text format. Values of labels are keys, route patterns, codes: nothing that needs escaping. */
export function metricText (name: string, type: 'counter' | 'gauge' | 'histogram', help: string, samples: Iterable<readonly [labels: Labels, value: number, suffix?: string]>): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
  for (const [labels, value, suffix = ''] of samples) text += `${name}${suffix}${labels === '' ? '' : `{${labels}}`} ${value}\n`
  return text
}
