import t from 'tap'
import { topologies } from '../../../test/helpers/index.ts'
import { broadcastSuite } from './broadcast-suite.ts'

t.test('sentinel', (t) => broadcastSuite(t, topologies.sentinel))
