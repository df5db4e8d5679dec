import { register } from 'node:module'

// --import of a process that runs a test file.
register('./loader-hooks.js', import.meta.url, { data: { outdir: process.env.TRANSPILED } })
