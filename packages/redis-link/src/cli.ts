#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { aclCommand, installedNeeds } from './acl.ts'

const USAGE = `Usage: redis-link acl --site ID [--env NAME] [--user NAME] [--db N]

Prints the command that makes a Redis user who may do what the installed packages need on this site, and nothing else.
  --site  the option siteId of the application
  --env   its option env; NODE_ENV or 'development' by default
  --user  name of the user; that of the site by default
  --db    number of the database, 0 by default
`

const NAME = /^[A-Za-z0-9._-]{1,64}$/

function main (): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { site: { type: 'string' }, env: { type: 'string' }, user: { type: 'string' }, db: { type: 'string' } }
  })
  const { site = '', env = process.env.NODE_ENV || 'development', user = site, db = '0' } = values
  if (positionals.join() !== 'acl' || ![site, env, user].every((name) => NAME.test(name)) || !/^\d{1,5}$/.test(db)) throw new Error('wrong arguments')
  const needs = installedNeeds(process.cwd())
  if (needs.size === 0) {
    process.stderr.write('redis-link: no package that needs Redis is installed here; run it in the folder of the application\n')
    return 1
  }
  process.stderr.write(`# for ${[...needs.keys()].sort().join(', ')}\n`)
  process.stdout.write(`${aclCommand(needs.values(), { siteId: site, env, user, db: Number(db) })}\n`)
  return 0
}

try {
  process.exitCode = main()
} catch {
  process.stderr.write(USAGE)
  process.exitCode = 2
}
