import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { root } from './program.js'

/**
 * Compiles `src`, one program of the helpers and what else of them it needs into a folder, without checking types, and resolves to the program's path: it starts
 * in a tenth of a second then, which matters where a test starts it hundreds of times.
 */
export async function compileProgram (folder: string, helper: string, ...needed: string[]): Promise<string> {
  const sources = (await readdir(join(root, 'src'), { recursive: true })).filter((file) => file.endsWith('.ts')).map((file) => join('src', file))
  for (const file of [...sources, ...[helper, ...needed].map((file) => join('test', 'helpers', file))]) {
    const { outputText } = ts.transpileModule(await readFile(join(root, file), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 }
    })
    const compiled = join(folder, file.replace(/\.ts$/, '.js'))
    await mkdir(dirname(compiled), { recursive: true })
    await writeFile(compiled, outputText)
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'test', 'helpers', helper.replace(/\.ts$/, '.js'))
}
