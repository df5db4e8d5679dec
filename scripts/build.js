import { bootstrap } from './bootstrap.js'
import { flags } from './flags.js'

flags([])
bootstrap()
