import t from 'tap'
import { topologies } from '../../../test/helpers/index.ts'
import { linkSuite } from './link-suite.ts'

t.test('cluster', (t) => linkSuite(t, topologies.cluster))
