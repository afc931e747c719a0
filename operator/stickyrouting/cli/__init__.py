"""``kubectl sticky``: what an application's owner and the person on call ask of Sticky Routing.

``kubectl-sticky`` on the PATH makes ``kubectl sticky`` work::

    kubectl sticky status [NAME] [-n NAMESPACE | -A] [-o json]
    kubectl sticky explain NAME|POD                   # why a pod is still there, and how to free it
    kubectl sticky drain POD... | --node NODE | --all NAME [--timeout 30m] [--undo]
    kubectl sticky cordon|uncordon POD...
    kubectl sticky end SESSION... --service NAME      # "-" reads the names from standard input
    kubectl sticky keys rotate NAME

It uses kubectl's own configuration (``--kubeconfig``, ``$KUBECONFIG``, ``~/.kube/config``, ``--context``, ``-n``,
``--as``), in a pod its service account. Results go to standard output, one per line; everything else to standard error.
A session is named by the 16 hexadecimal digits that its state header shows to the application, never by its id.

Exit codes: 0 done; 1 done in part (a session was not known, or not every proxy answered); 2 wrong use; 3 no cluster
(none configured, not reachable, or it does not know the user); 4 the user has no right; 5 not found (StickyService,
pod, node, or Sticky Routing is not installed); 6 still under way when the time to wait was over; 7 refused, by the API
server for another reason, which it tells, or as nothing that can be done with such a pod.

Law: it decides nothing. It writes annotations on StickyServices and their pods that the operator acts on, and shows
what the operator answers in the status and on the pods. Verbs import what they need when they run, so that ``--help``
costs an import of click alone.
"""
