import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where each command that a document names is run, or what it needs that is not everywhere. The first pattern that fits counts. */
export const COMMANDS: ReadonlyArray<readonly [pattern: RegExp, where: string]> = [
  [/^(?:PORT=3001 (?:SERVER_ID=002 )?|EMBEDDED=1 )?npm start$/, 'test/start.test.ts, test/start-redis.test.ts'],
  [/^npm test(?: -- (?:FILE…|[\w/. -]+))?$/, 'itself'],
  [/^npm run (?:build|check)$/, 'npm test begins with it: scripts/bootstrap.js, scripts/check.js'],
  [/^npm run seed(?: 50000)?$/, 'test/seed.test.ts'],
  [/^npm run (?:soak|soak:store|race|hold:store|comeback|prove:sessions|conformance:pagination|nodes)$/, 'by hand: the long form of a test'],
  [/^npm run docs(?: -- --errors)?$/, 'test/docs.test.ts'],
  [/^(?:npm|pnpm) create @jpulse (?:my-site|\.)/, 'packages/create/test/create.test.ts, which runs its command from the tarball'],
  [/^npm run capacity\b/, 'by hand: what takes minutes and an idle machine'],
  [/^npm run (?:bench|model)\b/, 'by hand: what takes minutes and an idle machine'],
  [/^node (?:benchmarks\/|spec\/)/, 'by hand: what takes minutes and an idle machine'],
  [/^npm run (?:release|try:deploy|schemathesis|consumers)$/, 'by hand; its parts: test/pack.test.ts, test/deploy.test.ts'],
  [/^npm run lighthouse$/, 'by hand: it installs Lighthouse, and takes minutes'],
  [/^npm run version$/, 'by hand: it consumes the changesets'],
  [/^npm publish --dry-run$/, 'test/pack.test.ts'],
  [/^(?:pnpm publish|npm deprecate) /, 'needs an account at npm'],
  [/^npm exec -- changeset$/, 'needs a person who answers its questions'],
  [/^npm run token\b/, 'examples/rerum-store/test/readme.test.ts'],
  [/^npm install (?:@jpulse\/redis-link|@jpulse\/[\w-]+(?: @jpulse\/[\w-]+)*(?: \w[\w-]*)*|@openfeature\/server-sdk)/, 'test/pack.test.ts, with tarballs of all packages'],
  [/^npx redis-link acl /, 'test/acl.test.ts'],
  [/^REDIS_BIN=/, 'needs further servers: packages/redis-link/test/servers.test.ts'],
  [/^(?:cd examples\/rerum-store && )?(?:REDIS_URL=\S+ )?MONGODB_URI=/, 'examples/rerum-store/test/race.test.ts, by the same ecosystem file'],
  [/^SESSION_SECRET=(?:old,new|new,old|new) pm2 reload jpulse-site --update-env$/, 'test/operation.test.ts'],
  [/^pm2 scale jpulse-site 3$/, 'test/operation.test.ts'],
  [/^(?:\(umask 077 && )?pm2 (?:save|startup)/, 'test/operation.test.ts, examples/jpulse-site/test/reload.test.ts; pm2 startup needs the system’s init'],
  [/^(?:ENV_FILE=\S+ )?pm2 (?:start|reload)\b/, 'examples/jpulse-site/test/reload.test.ts'],
  [/^pm2 (?:stop|describe|restart|ls$|logs) ?/, 'test/operation.test.ts'],
  [/^pm2 delete /, 'by hand'],
  [/^pm2 reloadLogs$/, 'test/operation.test.ts'],
  [/^pm2 sendSignal SIGUSR2 jpulse-site$/, 'test/logrotate.test.ts'],
  [/^install -m 644 deploy\/jpulse-site\.logrotate /, 'needs root; the file: test/logrotate.test.ts'],
  [/^NODE_ENV=production node examples\/jpulse-site\/dist\/server\.js --check$/, 'test/deploy.test.ts'],
  [/^(?:useradd |runuser |install -[dm] |export HOME=|systemctl )/, 'needs root and an init system; the files: test/deploy.test.ts'],
  [/^node -p /, 'test/deploy.test.ts'],
  [/^(?:ulimit -n|kill -9)/, 'of the shell'],
  [/^redis-cli -p 26379 sentinel /, 'test/helpers.test.ts'],
  [/^redis-cli --bigkeys$/, 'reads only'],
  [/^redis-cli config set maxmemory/, 'test/redis-full.test.ts'],
  [/^redis-(?:cli|server) /, 'test/deploy.test.ts'],
  [/^mongo(?:dump|restore) /, 'needs MongoDB’s tools']
]

const FENCE = /```(?:sh|bash|shell)\n([^]*?)```/g
const INLINE = /`((?:[A-Z_]+=\S+ )*(?:npm|npx|pm2|redis-cli|node|docker|curl|install|mongodump|mongorestore|pnpm|systemctl|export|kill|ulimit) [^`]+)`/g

/** Every command in a document that git knows, but for the changelogs. */
export function commandsOf (root: string): Array<{ file: string, command: string }> {
  const files = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' }).trim().split('\n')
  return files.filter((file) => !/CHANGELOG|^\.changeset\//.test(file)).flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    const blocks = [...text.matchAll(FENCE)].flatMap(([, block]) => block!.split('\n').map((line) => line.replace(/\s+#.*$/, '').trim()))
    const inline = [...text.replaceAll(/```[^]*?```/g, '').matchAll(INLINE)].map(([, command]) => command!)
    return [...blocks, ...inline].filter((command) => command !== '').map((command) => ({ file, command }))
  })
}
