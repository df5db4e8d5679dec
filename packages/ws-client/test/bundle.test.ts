import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build as esbuild } from 'esbuild'
import t from 'tap'
import { build as vite } from 'vite'
import { browser } from '../../../test/helpers/browser.ts'
import { waitFor, type Scope } from '../../../test/helpers/index.ts'
import { build } from '../../ws-namespaces/test/support/build.ts'

/** What an application that bundles it pays for the client; see the README. */
const MOST_BYTES = 5 * 1024
const folder = fileURLToPath(new URL('./fixtures/', import.meta.url))
const BROWSER = { bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', write: false, logLevel: 'silent' } as const

/** Files by their path. */
type Files = Map<string, string | Uint8Array>

async function bundled (contents: string): Promise<Uint8Array> {
  const { outputFiles } = await esbuild({ ...BROWSER, stdin: { contents, resolveDir: folder } })
  return outputFiles[0]!.contents
}

async function byEsbuild (): Promise<Files> {
  const entryPoints = ['page.js', 'worker.js', 'shared-worker.js'].map((name) => `${folder}${name}`)
  const { outputFiles } = await esbuild({ ...BROWSER, entryPoints, outdir: folder, define: { 'process.env.NODE_ENV': '"development"' } })
  return new Map([['/page.html', readFileSync(`${folder}page.html`)], ...outputFiles.map(({ path, contents }) => [`/${path.slice(folder.length)}`, contents] as const)])
}

async function byVite (): Promise<Files> {
  const built = await vite({ root: folder, configFile: false, logLevel: 'error', mode: 'development', worker: { format: 'es' }, define: { 'process.env.NODE_ENV': '"development"' }, build: { write: false, rollupOptions: { input: `${folder}page.html` } } })
  const { output } = (Array.isArray(built) ? built[0] : built) as { output: Array<{ fileName: string, code?: string, source?: string | Uint8Array }> }
  return new Map(output.map(({ fileName, code, source }) => [`/${fileName}`, code ?? source!]))
}

/** A server with the files and two namespaces; `opened` counts the connections of the panel. */
async function serve (t: Scope, files: Files) {
  const counts = { opened: 0, hellos: 0 }
  const { app, port } = await build(t, {
    options: { drainMs: 0 },
    before: (app) => {
      app.get<{ Params: { '*': string } }>('/*', async ({ params }, reply) => {
        const file = files.get(`/${params['*']}`)
        if (file === undefined) return reply.callNotFound()
        return reply.type(params['*'].endsWith('.html') ? 'text/html' : 'text/javascript').send(file)
      })
    },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', { public: true, onMessage: (_conn, { data }) => data })
      wsNamespaces.create('panel', {
        public: true,
        onConnect: () => { counts.opened++ },
        onMessage: (_conn, { type, data }) => {
          if (type === 'hello') counts.hellos++
          return data
        }
      })
    }
  })
  return { panel: app.wsNamespaces.get('panel')!, connections: () => app.wsNamespaces.local().panel!.connections, counts, url: `http://127.0.0.1:${port}/page.html` }
}

t.test('the client is small, and nothing is left of what is not used', async (t) => {
  const bytes = gzipSync(await bundled("export * from '@jpulse/ws-client'"), { level: 9 }).length
  t.comment(`${bytes} bytes`)
  t.ok(bytes <= MOST_BYTES, `${bytes} bytes of at most ${MOST_BYTES}`)
  t.equal((await bundled("import '@jpulse/ws-client'")).length, 0)
})

for (const [bundler, make] of [['esbuild', byEsbuild], ['Vite', byVite]] as const) {
  t.test(`bundled with ${bundler} it works in a page, a worker and a shared worker, and in React’s StrictMode with one connection`, async (t) => {
    const { panel, connections, counts, url } = await serve(t, await make())
    const { page, complaints } = await (await browser(t))()
    await page.goto(url)
    t.same(await page.evaluate('answers'), ['page', 'worker', 'shared worker'])

    const shown = () => page.evaluate("document.querySelector('#panel').innerText") as Promise<string>
    const shows = (text: string) => waitFor(async () => (await shown()).split('\n').filter(Boolean).every((one) => one === text) && await shown() !== '', { what: text, timeoutMs: 30_000 })
    await page.evaluate('mount()')
    await shows('connected:')
    t.equal(await page.evaluate('sent'), true, 'what an effect sends waits for the connection')
    t.equal(await page.evaluate("ask('echo', 7)"), 7)
    for (const n of [1, 2, 3]) await panel.broadcast('n', n)
    await shows('connected: n 2, n 3')
    t.same(await page.evaluate('heard'), ['a 1', 'b 1', 'a 2', 'b 2', 'a 3', 'b 3'], 'what the one throws concerns no other')
    t.same(await page.evaluate('faults'), Array(3).fill('as asked'))
    t.equal(await page.evaluate('effects'), 4)
    t.equal(counts.hellos, 4, 'two components, and effects run twice in StrictMode')
    t.same([counts.opened, connections()], [1, 1], 'mounted, unmounted, mounted: one connection')

    // A page that shows something else for a moment keeps it; after that nothing is left.
    await page.evaluate('unmount(); mount()')
    await shows('connected: n 2, n 3')
    t.same([counts.opened, connections()], [1, 1])
    await page.evaluate('unmount()')
    await waitFor(() => connections() === 0, { what: 'the connection to end', timeoutMs: 30_000 })
    await page.evaluate('mount()')
    await shows('connected:')
    t.same([counts.opened, connections()], [2, 1])
    t.strictSame(complaints, [])
  })
}
