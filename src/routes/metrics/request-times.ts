import { metricText } from './text.js'

/** Upper bounds of the histogram's buckets, in seconds. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

interface Series { readonly labels: string, readonly buckets: number[], count: number, sum: number }

/** How long requests took, by route pattern, method and status: as many series as there are of these, whatever is asked. */
export class RequestTimes {
  readonly #routes = new Map<string, Map<string, Map<number, Series>>>()

  /** Hot. `route` is a pattern such as `/flags/:key`, empty for what has none. */
  observe (method: string, route: string, status: number, milliseconds: number): void {
    let methods = this.#routes.get(route)
    if (methods === undefined) this.#routes.set(route, methods = new Map())
    let statuses = methods.get(method)
    if (statuses === undefined) methods.set(method, statuses = new Map())
    let series = statuses.get(status)
    if (series === undefined) {
      series = { labels: `method="${method}",route="${route}",status_code="${status}"`, buckets: bounds.map(() => 0), count: 0, sum: 0 }
      statuses.set(status, series)
    }
    const seconds = milliseconds / 1000
    series.count++
    series.sum += seconds
    for (let i = 0; i < bounds.length; i++) {
      if (seconds > bounds[i]!) continue
      series.buckets[i]!++
      break
    }
  }

  text (): string {
    return metricText('http_request_duration_seconds', 'histogram', 'How long requests took, by the pattern of their route.', this.#samples())
  }

  * #samples (): Generator<[string, number, string]> {
    const all = [...this.#routes.values()].flatMap((methods) => [...methods.values()]).flatMap((statuses) => [...statuses.values()])
    for (const { labels, buckets, count, sum } of all) {
      let below = 0
      for (const [i, bound] of bounds.entries()) yield [`${labels},le="${bound}"`, below += buckets[i]!, '_bucket']
      yield [`${labels},le="+Inf"`, count, '_bucket']
      yield [labels, sum, '_sum']
      yield [labels, count, '_count']
    }
  }
}
