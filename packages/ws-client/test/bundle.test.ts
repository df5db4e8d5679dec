import { gzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'

/** What an application that bundles it pays for the client; see the README. */
const MOST_BYTES = 5 * 1024
const folder = fileURLToPath(new URL('.', import.meta.url))

async function bundled (contents: string): Promise<Uint8Array> {
  const { outputFiles } = await build({ stdin: { contents, resolveDir: folder }, bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', write: false })
  return outputFiles[0]!.contents
}

t.test('the client is small, and nothing is left of what is not used', async (t) => {
  const bytes = gzipSync(await bundled("export * from '@jpulse/ws-client'"), { level: 9 }).length
  t.comment(`${bytes} bytes`)
  t.ok(bytes <= MOST_BYTES, `${bytes} bytes of at most ${MOST_BYTES}`)
  t.equal((await bundled("import '@jpulse/ws-client'")).length, 0)
})
