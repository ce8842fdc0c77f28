def test_loop(cluster, postgres_server):
    import asyncio, os, sys, time
    import importlib.util
    spec=importlib.util.spec_from_file_location("hist","/work/main/tests/e2e/test_history.py"); h=importlib.util.module_from_spec(spec); sys.modules["hist"]=h; spec.loader.exec_module(h)
    h.GROUPS=int(os.environ.get("G","100")); h.LANES=int(os.environ.get("L","8")); h.CLIENTS=int(os.environ.get("C","4"))
    cluster.declare(h.CATALOGUE)
    servers=[cluster.serve(PYTHONPATH=os.environ["SNAP"]),cluster.serve(PYTHONPATH=os.environ["SNAP"])]
    tokens=[(s.port,cluster.application(s).token) for s in servers]
    t=time.time()
    try:
        hs=asyncio.run(h.record(tokens)); t1=time.time()
    except BaseException as e:
        import traceback; print(traceback.format_exc()[-1500:])
        for s in servers: print(s.log.decode()[-1500:])
        os._exit(3)
    bad=[x for x in hs if not h.is_explained(x)]
    print("groups",len(hs),"ops",sum(map(len,hs)),"play",round(t1-t,1),"check",round(time.time()-t1,1),"bad",len(bad))
    for b in bad[:2]:
        z=min(x.start for x in b)
        for x in sorted(b,key=lambda x:x.start): print((x.start-z)//1000,(x.end-z)//1000,x.act,x.answer,x.now)
        print()
    import urllib.request
    for s in servers: print([l for l in urllib.request.urlopen(s.url+"/metrics").read().decode().splitlines() if l.startswith("temppass_store_retr")])
