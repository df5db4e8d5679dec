import { bootstrap } from './bootstrap.js'

bootstrap()
