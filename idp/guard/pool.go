package guard

import "math/rand/v2"

// A pool is a map of which one can be drawn at random, each as likely as another. To range over a map
// takes as long as it was big once.
type pool[V any] struct {
	index map[[16]byte]int
	list  []entry[V]
}

type entry[V any] struct {
	key   [16]byte
	value V
}

// find returns the value of a key, nil for none. It stands until the next put or remove.
func (p *pool[V]) find(key [16]byte) *V {
	if i, ok := p.index[key]; ok {
		return &p.list[i].value
	}
	return nil
}

func (p *pool[V]) put(key [16]byte, value V) {
	if v := p.find(key); v != nil {
		*v = value
		return
	}
	if p.index == nil {
		p.index = make(map[[16]byte]int)
	}
	p.index[key] = len(p.list)
	p.list = append(p.list, entry[V]{key, value})
}

func (p *pool[V]) remove(key [16]byte) {
	i, ok := p.index[key]
	if !ok {
		return
	}
	last := len(p.list) - 1
	p.list[i] = p.list[last]
	p.index[p.list[i].key] = i
	p.list[last] = entry[V]{}
	p.list = p.list[:last]
	delete(p.index, key)
}

// sweep draws so many and removes those that are over.
func (p *pool[V]) sweep(draws int, over func(*V) bool) {
	for range draws {
		if len(p.list) == 0 {
			return
		}
		if e := &p.list[rand.IntN(len(p.list))]; over(&e.value) {
			p.remove(e.key)
		}
	}
}
