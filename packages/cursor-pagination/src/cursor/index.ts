export { bindingOf, type Binding } from './binding.ts'
export { digestOf } from './canonical.ts'
export { CursorCodec, type Position } from './codec.ts'
export { outerBound, stubOf } from './stub.ts'
