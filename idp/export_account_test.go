package idp

// DeleteDue is the chore of Run.
var DeleteDue = (*Provider).deleteDue
