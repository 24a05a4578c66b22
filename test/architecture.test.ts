import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join, normalize, sep } from 'node:path'
import t from 'tap'

/** What each part of src may import, of its own tree and from packages. The first part that matches a path owns it. */
const parts: Array<{ part: string, owns: RegExp, imports: string[], packages?: RegExp }> = [
  { part: 'errors', owns: /^errors\.ts$/, imports: [], packages: /^@fastify\/error$/ },
  { part: 'model', owns: /^model\//, imports: ['errors'], packages: /^(typebox(\/.*)?|re2js|semver)$/ },
  { part: 'openfeature', owns: /^openfeature\.ts$/, imports: ['core', 'evaluation', 'model', 'errors'], packages: /^@openfeature\/server-sdk$/ },
  { part: 'evaluation', owns: /^evaluation\//, imports: ['model', 'errors'], packages: /^(re2js|semver)$/ },
  { part: 'store/redis', owns: /^store\/redis/, imports: ['store', 'model', 'errors'], packages: /^ioredis$/ },
  { part: 'store', owns: /^store\//, imports: ['model', 'errors'] },
  { part: 'experiments/redis', owns: /^experiments\/redis/, imports: ['experiments', 'store/redis', 'store', 'model', 'errors'], packages: /^ioredis$/ },
  { part: 'experiments', owns: /^experiments\//, imports: ['evaluation', 'store', 'model', 'errors'] },
  { part: 'guards', owns: /^guards\//, imports: ['experiments', 'evaluation', 'model', 'errors'] },
  { part: 'core', owns: /^(replica|flags|flag-types|facade|diagnostics|admin)(\.ts$|\/)/, imports: ['guards', 'experiments', 'evaluation', 'store', 'model', 'errors'] },
  { part: 'routes', owns: /^routes\//, imports: ['core', 'guards', 'experiments', 'evaluation', 'store', 'model', 'errors'], packages: /^(fastify|fastify-plugin|@fastify\/.*|@platformatic\/prom-client|typebox(\/.*)?)$/ },
  { part: 'plugin', owns: /^(plugin|options|index)\.ts$|^plugin\//, imports: ['routes', 'core', 'guards', 'experiments/redis', 'experiments', 'store/redis', 'store', 'evaluation', 'model', 'errors'], packages: /^(fastify|fastify-plugin|@fastify\/.*|ioredis)$/ },
  { part: 'sidecar', owns: /^sidecar\//, imports: ['plugin', 'routes', 'core', 'store/redis', 'store', 'evaluation', 'model', 'errors'], packages: /^(fastify|@fastify\/.*|close-with-grace|ioredis)$/ }
]

const root = 'src'

function partOf (file: string): string {
  return parts.find(({ owns }) => owns.test(file))?.part ?? `no part of the layout: ${file}`
}

function importsOf (file: string): string[] {
  const source = readFileSync(join(root, file), 'utf8')
  return [...source.matchAll(/^\s*(?:import|export)\b[^'"]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm)].map((match) => match[1] ?? match[2] ?? match[3]!)
}

t.test('every file of src has its place, and imports point from the edges to the model', async (t) => {
  const files = (await readdir(root, { recursive: true })).map((file) => file.split(sep).join('/')).filter((file) => file.endsWith('.ts'))
  t.ok(files.length > 20, 'the files are read')
  for (const file of files) {
    const own = parts.find(({ owns }) => owns.test(file))
    if (own === undefined) {
      t.fail(`${file} belongs to no part of the layout`)
      continue
    }
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith('node:')) continue
      if (specifier.startsWith('.')) {
        const target = partOf(normalize(join(dirname(file), specifier)).split(sep).join('/').replace(/\.js$/, '.ts'))
        t.ok(target === own.part || own.imports.includes(target), `${file} (${own.part}) imports ${specifier} (${target})`)
      } else {
        t.ok(own.packages?.test(specifier), `${file} (${own.part}) imports the package ${specifier}`)
      }
    }
  }
})
