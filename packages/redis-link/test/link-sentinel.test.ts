import t from 'tap'
import { topologies } from '../../../test/helpers/index.ts'
import { linkSuite } from './link-suite.ts'

t.test('sentinel', (t) => linkSuite(t, topologies.sentinel))
